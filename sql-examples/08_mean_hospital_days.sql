-- Mean hospital days of a study's participants
-- asks: health/institute
--
-- The institute knows who takes part in its heart study, the insurer who was in hospital, and for how
-- long. Participants wrote their insurance number in their own way; the insurer has one spelling, and the
-- local side of a term may be any expression. A stay that has not ended has no days yet.

SELECT PRIVATE_INTERSECT_COUNT(*)      AS in_hospital,
       PRIVATE_INTERSECT_COUNT(s.days) AS ended_stays,
       PRIVATE_INTERSECT_AVG(s.days)   AS mean_days
FROM   participants p
JOIN   insurer.hospital_stays s
       ON upper(replace(p.insurance_number, ' ', '')) = s.insurance_number
WHERE  p.study = 'heart-2026'
AND    s.admitted_on >= DATE '2026-01-01'
