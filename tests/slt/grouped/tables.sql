-- Persons of several rows and labels on one side, each in one group of the other's.

CREATE TABLE scattered AS
SELECT v, v * 37 % 101 AS a, v * 71 % 53 AS b, v * v % 47 AS c FROM generate_series(1, 240) AS t(v);

-- Sales: a category of which one is not listed and one is missing, a size that is a number, a day.
CREATE TABLE advertiser.sales AS
SELECT CASE WHEN b % 6 <> 5 THEN 'b' || (a % 60) || '@example.org' END AS email,
       CASE WHEN c % 4 <> 3 THEN 'card' || (a % 60) || (b % 3) END AS card,
       CASE c % 6 WHEN 0 THEN 'toys' WHEN 1 THEN 'books' WHEN 2 THEN 'toys' WHEN 3 THEN 'wine' WHEN 4 THEN 'garden' END AS category,
       b % 4 AS size,
       c % 2 = 0 AS online,
       DATE '2026-01-01' + CAST(b % 3 AS INT) AS day,
       CASE WHEN b % 7 <> 0 THEN c - 8 END AS amount,
       CASE WHEN c % 5 <> 0 THEN CAST(b AS DECIMAL(9, 2)) / 4 - 2 END AS price,
       CASE WHEN a % 9 <> 0 THEN CAST(b AS DOUBLE) / 8 END AS weight
FROM scattered;

-- The same people under a minimum for each group, and in several labels each.
CREATE TABLE advertiser.guarded AS SELECT * FROM advertiser.sales;

CREATE TABLE advertiser.broad AS SELECT * FROM advertiser.sales;

-- Readers: groups are functions of who they are, so that each is in one.
CREATE TABLE readers AS
SELECT CASE WHEN v % 5 <> 0 THEN 'b' || v || '@example.org' END AS email,
       CASE WHEN v % 3 <> 0 THEN 'card' || v || (v % 3) END AS card,
       CASE v % 4 WHEN 0 THEN 'north' WHEN 1 THEN 'south' WHEN 2 THEN 'west' END AS region,
       18 + v * 7 % 50 AS age,
       v % 9 AS clicks,
       CAST(v * 3 % 40 AS DECIMAL(8, 2)) / 8 AS cost
FROM generate_series(20, 75) AS t(v);

-- And what they saw: several rows each, some of whose groups differ.
CREATE TABLE seen AS
SELECT email, card, region, clicks, CASE WHEN n = 2 AND age > 40 THEN 'evening' ELSE 'morning' END AS part
FROM readers CROSS JOIN (SELECT value AS n FROM generate_series(1, 3));

DROP TABLE scattered
