-- Treatment and control
-- asks: health/institute
--
-- Do those who get the treatment spend fewer days in hospital, and cost less? One question for each arm,
-- in one statement. Who left out the number is found by surname and date of birth together, which the
-- insurer's share declares as one composite identifier.

SELECT 'control' AS arm,
       PRIVATE_INTERSECT_COUNT(*)    AS in_hospital,
       PRIVATE_INTERSECT_AVG(s.days) AS mean_days,
       PRIVATE_INTERSECT_SUM(s.cost) AS cost
FROM   participants p
JOIN   insurer.hospital_stays s
       ON upper(replace(p.insurance_number, ' ', '')) = s.insurance_number
       OR (upper(p.surname) = s.surname AND p.born = s.born)
WHERE  p.study = 'heart-2026' AND p.arm = 'control' AND s.ward <> 'maternity'
UNION ALL
SELECT 'treatment',
       PRIVATE_INTERSECT_COUNT(*),
       PRIVATE_INTERSECT_AVG(s.days),
       PRIVATE_INTERSECT_SUM(s.cost)
FROM   participants p
JOIN   insurer.hospital_stays s
       ON upper(replace(p.insurance_number, ' ', '')) = s.insurance_number
       OR (upper(p.surname) = s.surname AND p.born = s.born)
WHERE  p.study = 'heart-2026' AND p.arm = 'treatment' AND s.ward <> 'maternity'
ORDER BY arm
