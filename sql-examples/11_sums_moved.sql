-- The sums that they moved
-- asks: banks/westbank
--
-- How much money did westbank's high-risk customers move out of eastbank in the second quarter, in how
-- many transfers, and how much is that on average? An average over nobody is NULL, and a sum 0.

SELECT PRIVATE_INTERSECT_COUNT(*)        AS customers,
       PRIVATE_INTERSECT_COUNT(t.amount) AS transfers,
       PRIVATE_INTERSECT_SUM(t.amount)   AS moved,
       PRIVATE_INTERSECT_AVG(t.amount)   AS mean_transfer
FROM   flagged f
JOIN   eastbank.transfers t ON f.tax_number = t.tax_number
WHERE  f.risk >= 70
AND    t.direction = 'out'
AND    EXTRACT(QUARTER FROM t.moved_on) = 2
