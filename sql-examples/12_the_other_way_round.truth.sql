SELECT count(DISTINCT f.tax_number)              AS customers,
       CAST(sum(f.risk) AS DOUBLE) / count(f.risk) AS mean_risk
FROM   westbank.flagged f
WHERE (f.reason IS DISTINCT FROM 'dormant')
AND    f.tax_number IN (
           SELECT   tax_number
           FROM     eastbank.transfers
           WHERE    direction = 'out'
           GROUP BY tax_number
           HAVING   sum(amount) > 10000)
