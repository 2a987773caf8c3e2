-- No two people of these data share a surname and a date of birth: both together are a person.
WITH watched AS (
    SELECT tax_number, upper(surname) AS surname, born FROM westbank.flagged WHERE reason <> 'dormant'
)
SELECT count(DISTINCT surname || ' ' || CAST(born AS VARCHAR)) AS flagged_at_both
FROM   eastbank.flagged_accounts a
WHERE  a.reason IN ('fraud', 'identity')
AND   (a.tax_number IN (SELECT tax_number FROM watched WHERE tax_number IS NOT NULL)
       OR a.surname || ' ' || CAST(a.born AS VARCHAR) IN (SELECT surname || ' ' || CAST(born AS VARCHAR) FROM watched))
