-- Small tables, among many dummies: with the noise on the sizes, and none on the answers.

CREATE TABLE numbers AS SELECT v, v * 37 % 53 AS a, v * 11 % 29 AS b FROM generate_series(1, 120) AS t(v);

CREATE TABLE advertiser.hidden AS
SELECT CASE WHEN a % 4 <> 0 THEN 'k' || (a % 30) END AS email,
       CASE WHEN b % 3 <> 0 THEN 'p' || b END AS code,
       a - 10 AS amount,
       CASE WHEN v % 3 = 0 THEN 'web' ELSE 'shop' END AS kind
FROM numbers WHERE v <= 80;

CREATE TABLE advertiser.padded AS SELECT * FROM advertiser.hidden;

CREATE TABLE advertiser.revealed AS SELECT * FROM advertiser.hidden;

CREATE TABLE mine AS
SELECT CASE WHEN b % 4 <> 1 THEN 'k' || (a % 35) END AS email, CASE WHEN a % 3 <> 2 THEN 'p' || b END AS code, v % 7 AS clicks
FROM numbers WHERE v > 40;

DROP TABLE numbers
