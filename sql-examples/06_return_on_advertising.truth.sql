WITH seen AS (
    SELECT lower(trim(email)) AS email, cost FROM publisher.impressions WHERE campaign = 'spring'
), bought AS (
    SELECT lower(trim(email)) AS email, amount
    FROM   advertiser.purchases
    WHERE  bought_on BETWEEN DATE '2026-03-01' AND DATE '2026-05-31'
)
SELECT revenue,
       spent_on_buyers,
       spent_in_all,
       revenue / spent_in_all AS revenue_per_dollar
FROM  (SELECT sum(amount) AS revenue FROM bought WHERE email IN (SELECT email FROM seen))
CROSS JOIN
      (SELECT sum(cost) AS spent_on_buyers FROM seen WHERE email IN (SELECT email FROM bought))
CROSS JOIN
      (SELECT sum(cost) AS spent_in_all FROM seen)
