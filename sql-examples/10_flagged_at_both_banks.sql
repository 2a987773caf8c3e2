-- Customers flagged at both banks
-- asks: banks/westbank
--
-- Each bank has customers whom it watches. How many does the other one watch too, for fraud or for a
-- false identity? By tax number, or by surname and date of birth together.

SELECT PRIVATE_INTERSECT_COUNT(*) AS flagged_at_both
FROM   flagged f
JOIN   eastbank.flagged_accounts a ON f.tax_number = a.tax_number
                                   OR (upper(f.surname) = a.surname AND f.born = a.born)
WHERE  f.reason <> 'dormant'
AND    a.reason IN ('fraud', 'identity')
