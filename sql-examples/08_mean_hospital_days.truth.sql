SELECT count(DISTINCT s.insurance_number)        AS in_hospital,
       count(s.days)                             AS ended_stays,
       CAST(sum(s.days) AS DOUBLE) / count(s.days) AS mean_days
FROM   insurer.hospital_stays s
WHERE  s.admitted_on >= DATE '2026-01-01'
AND    s.insurance_number IN (
           SELECT upper(replace(insurance_number, ' ', '')) FROM institute.participants WHERE study = 'heart-2026')
