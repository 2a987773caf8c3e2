-- The same by three identifiers, over a view
-- asks: advertising/publisher
--
-- Both sides also keep a device, as its SHA-256 hash only. The publisher's side of the join can be
-- anything that plain SQL can say: here a view.

CREATE VIEW spring_audience AS
SELECT email, phone, device FROM impressions WHERE campaign = 'spring';

SELECT PRIVATE_INTERSECT_COUNT(*)      AS buyers,
       PRIVATE_INTERSECT_SUM(p.amount) AS revenue
FROM   spring_audience a
JOIN   advertiser.purchases p ON a.email = p.email OR a.phone = p.phone OR a.device = p.device
WHERE  p.bought_on >= DATE '2026-03-01'
