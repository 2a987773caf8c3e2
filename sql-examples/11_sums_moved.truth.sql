SELECT count(DISTINCT t.tax_number)                  AS customers,
       count(t.amount)                               AS transfers,
       sum(t.amount)                                 AS moved,
       CAST(sum(t.amount) AS DOUBLE) / count(t.amount) AS mean_transfer
FROM   eastbank.transfers t
WHERE  t.direction = 'out'
AND    EXTRACT(QUARTER FROM t.moved_on) = 2
AND    t.tax_number IN (SELECT tax_number FROM westbank.flagged WHERE risk >= 70)
