-- Revenue from customers who saw the campaign
-- asks: advertising/publisher
--
-- How much did they spend, and how much is that for each of them? Two sums and their quotient, in one
-- query and one run: arithmetic on top of private aggregates is plain SQL.

SELECT PRIVATE_INTERSECT_COUNT(*)      AS buyers,
       PRIVATE_INTERSECT_SUM(p.amount) AS revenue,
       PRIVATE_INTERSECT_SUM(p.amount) / PRIVATE_INTERSECT_COUNT(*) AS revenue_per_buyer
FROM   impressions i
JOIN   advertiser.purchases p ON i.email = p.email
WHERE  i.campaign = 'spring'
AND    p.bought_on >= DATE '2026-03-01'
