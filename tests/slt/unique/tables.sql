-- One row per person on either side. Persons 1 to 80 shop, 41 to 130 read, so 40 are in both by any identifier that
-- neither side lacks. Identifiers are spelt alike; the nulls of one column have nothing to do with those of another.

-- Who bought what.
CREATE TABLE advertiser.purchases AS
SELECT CASE WHEN v % 7 = 3 THEN NULL ELSE 'user' || v || '@example.org' END AS email,
       CASE WHEN v % 5 = 2 THEN NULL ELSE '+1212555' || (1000 + v) END AS phone,
       CASE WHEN v % 4 = 1 THEN NULL ELSE 'dev-' || (v * 37 % 1009) END AS device,
       CASE WHEN v % 6 = 5 THEN NULL ELSE 500000 + v END AS customer,
       CASE WHEN v % 9 = 4 THEN NULL ELSE 'name' || (v % 10) END AS surname,
       DATE '1980-01-01' + CAST(v / 10 AS INT) AS born,
       CASE WHEN v % 11 = 6 THEN NULL ELSE v * 13 % 97 - 20 END AS amount,
       CAST(CASE WHEN v % 8 = 7 THEN NULL ELSE v * 17 % 250 END AS DECIMAL(10, 2)) / 4 AS price,
       CASE WHEN v % 10 = 9 THEN NULL WHEN v = 60 THEN CAST('NaN' AS DOUBLE) ELSE CAST(v * 29 % 113 - 50 AS DOUBLE) / 8 END AS weight,
       CASE v % 5 WHEN 0 THEN 'toys' WHEN 1 THEN 'books' WHEN 2 THEN 'garden' WHEN 3 THEN 'Toys & co' END AS category,
       CASE WHEN v % 13 = 12 THEN NULL ELSE DATE '2026-01-01' + CAST(v * 7 % 120 AS INT) END AS bought_on,
       CAST(to_timestamp_seconds(1767225600 + v * 59823) AS TIMESTAMP) AS paid_at,
       CASE WHEN v % 3 = 0 THEN NULL ELSE v % 3 = 1 END AS gift,
       CAST(v % 6 AS INT) AS items
FROM generate_series(1, 80) AS t(v);

-- Who saw what.
CREATE TABLE impressions AS
SELECT v AS reader,
       CASE WHEN v % 6 = 2 THEN NULL ELSE 'user' || v || '@example.org' END AS email,
       CASE WHEN v % 4 = 3 THEN NULL ELSE '+1212555' || (1000 + v) END AS phone,
       CASE WHEN v % 5 = 4 THEN NULL ELSE 'dev-' || (v * 37 % 1009) END AS device,
       CASE WHEN v % 7 = 1 THEN NULL ELSE 500000 + v END AS customer,
       'name' || (v % 10) AS surname,
       CASE WHEN v % 8 = 0 THEN NULL ELSE DATE '1980-01-01' + CAST(v / 10 AS INT) END AS born,
       CASE WHEN v % 9 = 5 THEN NULL ELSE v * 11 % 41 END AS clicks,
       CAST(v * 3 % 16 AS DECIMAL(8, 3)) / 8 AS cost,
       CAST(v * 7 % 64 AS DOUBLE) / 16 AS seconds,
       CASE WHEN v % 3 = 0 THEN 'spring' WHEN v % 3 = 1 THEN 'autumn' END AS campaign,
       DATE '2026-01-15' + CAST(v % 60 AS INT) AS seen_on
FROM generate_series(41, 130) AS t(v);

-- What the publisher knows of its readers besides.
CREATE TABLE readers AS
SELECT v AS reader,
       CASE WHEN v % 4 = 0 THEN 'DE' WHEN v % 4 = 1 THEN 'FR' WHEN v % 4 = 2 THEN 'US' END AS country,
       18 + v * 7 % 60 AS age,
       v % 10 < 7 AS subscribed
FROM generate_series(41, 140) AS t(v);

-- Campaigns have names that are not those of impressions.
CREATE TABLE campaigns AS
SELECT * FROM (VALUES ('spring', 'Fresh', 100), ('autumn', 'Gold', 250), ('winter', 'Snow', 50)) AS t(campaign, title, budget);
