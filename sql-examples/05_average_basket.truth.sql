WITH seen AS (
    SELECT lower(trim(email)) AS email, right(regexp_replace(phone, '[^0-9]', '', 'g'), 10) AS phone
    FROM   publisher.impressions
    WHERE  channel IN ('video', 'banner')
), bought AS (
    SELECT lower(trim(email)) AS email, right(regexp_replace(phone, '[^0-9]', '', 'g'), 10) AS phone,
           order_id, amount, coupon
    FROM   advertiser.purchases
    WHERE  category IN ('shoes', 'coats')
)
SELECT count(order_id)                             AS purchases,
       CAST(sum(amount) AS DOUBLE) / count(amount) AS average_basket,
       100.0 * count(coupon) / count(order_id)     AS percent_with_coupon
FROM   bought
WHERE  email IN (SELECT email FROM seen WHERE email IS NOT NULL)
OR     phone IN (SELECT phone FROM seen WHERE phone IS NOT NULL)
HAVING count(DISTINCT coalesce(email, '') || ' ' || coalesce(phone, '')) >= 20
