-- A buyer is an e-mail address, in whatever spelling.
SELECT count(DISTINCT lower(trim(p.email))) AS buyers_reached
FROM   advertiser.purchases p
WHERE  p.bought_on >= DATE '2026-03-01'
AND    lower(trim(p.email)) IN (SELECT lower(trim(email)) FROM publisher.impressions WHERE campaign = 'spring')
