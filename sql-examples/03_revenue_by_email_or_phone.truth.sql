-- All purchases of one customer carry the same identifiers, so that a customer is a distinct pair of them.
WITH seen AS (
    SELECT lower(trim(email)) AS email, right(regexp_replace(phone, '[^0-9]', '', 'g'), 10) AS phone
    FROM   publisher.impressions
    WHERE  campaign = 'spring'
), bought AS (
    SELECT lower(trim(email)) AS email, right(regexp_replace(phone, '[^0-9]', '', 'g'), 10) AS phone, amount
    FROM   advertiser.purchases
    WHERE  bought_on >= DATE '2026-03-01'
)
SELECT count(DISTINCT coalesce(email, '') || ' ' || coalesce(phone, '')) AS buyers,
       sum(amount)                                                      AS revenue
FROM   bought
WHERE  email IN (SELECT email FROM seen WHERE email IS NOT NULL)
OR     phone IN (SELECT phone FROM seen WHERE phone IS NOT NULL)
