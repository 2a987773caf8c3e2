-- No two people of these data share a surname and a date of birth: both together are a person.
WITH people AS (
    SELECT arm, upper(replace(insurance_number, ' ', '')) AS insurance_number, upper(surname) AS surname, born
    FROM   institute.participants
    WHERE  study = 'heart-2026'
), stays AS (
    SELECT DISTINCT p.arm, s.stay_id, s.surname, s.born, s.days, s.cost
    FROM   insurer.hospital_stays s
    JOIN   people p ON p.insurance_number = s.insurance_number OR (p.surname = s.surname AND p.born = s.born)
    WHERE  s.ward <> 'maternity'
)
SELECT   arm,
         count(DISTINCT surname || ' ' || CAST(born AS VARCHAR)) AS in_hospital,
         CAST(sum(days) AS DOUBLE) / count(days)                 AS mean_days,
         sum(cost)                                               AS cost
FROM     stays
GROUP BY arm
ORDER BY arm
