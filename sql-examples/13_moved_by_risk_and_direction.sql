-- Customers by risk and direction
-- asks: banks/westbank
--
-- How many of westbank's watched customers move money in and out of eastbank, and how much in the second
-- quarter: those of high risk and the others, in one question? The direction is eastbank's column, whose
-- two labels its share lists; the band is westbank's own, one for each customer. Each pair has its row.

SELECT w.band,
       t.direction,
       PRIVATE_INTERSECT_COUNT(*) AS customers,
       PRIVATE_INTERSECT_SUM(t.amount)
           FILTER (WHERE EXTRACT(QUARTER FROM t.moved_on) = 2) AS moved_in_q2
FROM  (SELECT   tax_number,
                CASE WHEN max(risk) >= 70 THEN 'high' ELSE 'lower' END AS band
       FROM     flagged
       GROUP BY tax_number) AS w
JOIN   eastbank.transfers t ON w.tax_number = t.tax_number
GROUP BY w.band, t.direction
ORDER BY w.band, t.direction
