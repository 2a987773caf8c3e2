-- The average basket
-- asks: advertising/publisher
--
-- What does a purchase of shoes or coats come to when the buyer saw an advertisement, and how many of
-- them used a coupon? COUNT(column) counts rows that have a value; AVG is a sum and such a count. HAVING
-- keeps a mean over too few buyers out of the report.

SELECT PRIVATE_INTERSECT_COUNT(p.order_id) AS purchases,
       PRIVATE_INTERSECT_AVG(p.amount)     AS average_basket,
       100.0 * PRIVATE_INTERSECT_COUNT(p.coupon)
             / PRIVATE_INTERSECT_COUNT(p.order_id) AS percent_with_coupon
FROM   impressions i
JOIN   advertiser.purchases p ON i.email = p.email OR i.phone = p.phone
WHERE  i.channel IN ('video', 'banner')
AND    p.category IN ('shoes', 'coats')
HAVING PRIVATE_INTERSECT_COUNT(*) >= 20
