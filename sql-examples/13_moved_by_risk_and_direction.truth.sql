WITH watched AS (
    SELECT   tax_number, CASE WHEN max(risk) >= 70 THEN 'high' ELSE 'lower' END AS band
    FROM     westbank.flagged
    WHERE    tax_number IS NOT NULL
    GROUP BY tax_number
)
SELECT   band,
         direction,
         count(DISTINCT t.tax_number)                                          AS customers,
         sum(t.amount) FILTER (WHERE EXTRACT(QUARTER FROM t.moved_on) = 2) AS moved_in_q2
FROM     watched w
JOIN     eastbank.transfers t ON w.tax_number = t.tax_number
GROUP BY band, direction
ORDER BY band, direction
