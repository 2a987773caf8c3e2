-- The same by two identifiers
-- asks: advertising/publisher
--
-- Not everybody leaves an e-mail address. Terms joined by OR are tried in their order: e-mail first,
-- then the phone number for those who are still unmatched. Each person counts once.

SELECT PRIVATE_INTERSECT_COUNT(*)      AS buyers,
       PRIVATE_INTERSECT_SUM(p.amount) AS revenue
FROM   impressions i
JOIN   advertiser.purchases p ON i.email = p.email OR i.phone = p.phone
WHERE  i.campaign = 'spring'
AND    p.bought_on >= DATE '2026-03-01'
