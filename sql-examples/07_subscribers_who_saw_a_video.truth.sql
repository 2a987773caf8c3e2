WITH audience AS (
    SELECT lower(trim(r.email)) AS email, right(regexp_replace(r.phone, '[^0-9]', '', 'g'), 10) AS phone
    FROM   publisher.readers r
    WHERE  r.plan = 'plus'
    AND    r.reader_id IN (SELECT reader_id FROM publisher.impressions WHERE channel = 'video')
), bought AS (
    SELECT lower(trim(email)) AS email, right(regexp_replace(phone, '[^0-9]', '', 'g'), 10) AS phone, amount
    FROM   advertiser.purchases
    WHERE  category LIKE 's%' OR category = 'gifts'
)
SELECT count(DISTINCT coalesce(email, '') || ' ' || coalesce(phone, '')) AS buyers,
       count(amount)                                                    AS purchases,
       sum(amount)                                                      AS revenue
FROM   bought
WHERE  email IN (SELECT email FROM audience WHERE email IS NOT NULL)
OR     phone IN (SELECT phone FROM audience WHERE phone IS NOT NULL)
