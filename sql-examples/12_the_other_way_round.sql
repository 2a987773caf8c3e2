-- The other way round
-- asks: banks/eastbank
--
-- Both parties may share, and both may ask. Eastbank asks how risky westbank thinks those customers are
-- who moved more than 10,000 out of eastbank in all: a subquery with a GROUP BY of its own is the local
-- side here.

SELECT PRIVATE_INTERSECT_COUNT(*)    AS customers,
       PRIVATE_INTERSECT_AVG(f.risk) AS mean_risk
FROM  (SELECT   tax_number
       FROM     transfers
       WHERE    direction = 'out'
       GROUP BY tax_number
       HAVING   sum(amount) > 10000) AS movers
JOIN   westbank.flagged f ON movers.tax_number = f.tax_number
WHERE  f.reason IS DISTINCT FROM 'dormant'
