-- Reach of a campaign
-- asks: advertising/publisher
--
-- The publisher showed the spring campaign. How many of the people who saw it have bought something
-- from the advertiser since March? One knows who saw it, the other who bought; neither shows a list.

SELECT PRIVATE_INTERSECT_COUNT(*) AS buyers_reached
FROM   impressions i
JOIN   advertiser.purchases p ON i.email = p.email
WHERE  i.campaign = 'spring'
AND    p.bought_on >= DATE '2026-03-01'
