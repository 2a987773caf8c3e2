-- Subscribers who saw a video
-- asks: advertising/publisher
--
-- The publisher's side may be a join of its own tables. Here: the readers with a Plus subscription who
-- saw a video, by the address and number that they gave when they subscribed.

WITH audience AS (
    SELECT DISTINCT r.email, r.phone
    FROM   readers r
    JOIN   impressions i ON i.reader_id = r.reader_id
    WHERE  r.plan = 'plus' AND i.channel = 'video'
)
SELECT PRIVATE_INTERSECT_COUNT(*)        AS buyers,
       PRIVATE_INTERSECT_COUNT(p.amount) AS purchases,
       PRIVATE_INTERSECT_SUM(p.amount)   AS revenue
FROM   audience a
JOIN   advertiser.purchases p ON a.phone = p.phone OR a.email = p.email
WHERE  p.category LIKE 's%' OR p.category = 'gifts'
