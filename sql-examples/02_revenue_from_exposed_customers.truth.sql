SELECT count(DISTINCT lower(trim(p.email))) AS buyers,
       sum(p.amount)                        AS revenue,
       sum(p.amount) / count(DISTINCT lower(trim(p.email))) AS revenue_per_buyer
FROM   advertiser.purchases p
WHERE  p.bought_on >= DATE '2026-03-01'
AND    lower(trim(p.email)) IN (SELECT lower(trim(email)) FROM publisher.impressions WHERE campaign = 'spring')
