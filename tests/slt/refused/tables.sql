-- A few people on either side: nothing here depends on them, since nothing here is answered.

CREATE TABLE advertiser.purchases AS
SELECT 'user' || v || '@example.org' AS email, '+1212555' || (1000 + v) AS phone, 'name' || v AS surname, DATE '1980-01-01' + CAST(v AS INT) AS born,
       'customer' || v AS customer, v AS amount, v % 30 AS days, CAST(v AS DOUBLE) / 3 AS score, 'basket' || v AS basket, v AS secret,
       CASE WHEN v % 2 = 0 THEN 'toys' ELSE 'books' END AS category, DATE '2026-01-01' + CAST(v AS INT) AS bought_on, v % 3 = 0 AS gift
FROM generate_series(1, 20) AS t(v);

-- The same under narrower policies.
CREATE TABLE advertiser.closed AS SELECT email, amount, category FROM advertiser.purchases;

CREATE TABLE advertiser.rare AS SELECT email, amount, category FROM advertiser.purchases;

CREATE TABLE advertiser.once AS SELECT email, amount, category FROM advertiser.purchases;

CREATE TABLE advertiser.held AS SELECT email, amount, category FROM advertiser.purchases;

CREATE TABLE advertiser.unshared AS SELECT email FROM advertiser.purchases;

CREATE TABLE impressions AS
SELECT 'user' || v || '@example.org' AS email, '+1212555' || (1000 + v) AS phone, 'name' || v AS surname, DATE '1980-01-01' + CAST(v AS INT) AS born,
       v AS reader, v % 5 AS clicks, CASE WHEN v % 2 = 0 THEN 'spring' ELSE 'autumn' END AS campaign
FROM generate_series(11, 30) AS t(v);

CREATE TABLE customers AS SELECT email, phone, surname, reader AS number FROM impressions
