-- Rows of the same people, many times over, with everything that makes matching hard: a few people with most of the rows,
-- a third of all identifiers missing, the same identifier with different others in other rows, on both sides.
-- `v * v % 1009` and the like only scatter; what is small comes often since it is squared once more.

CREATE TABLE scattered AS
SELECT v,
       CAST(v * 7919 % 1000 AS DOUBLE) / 1000 AS a,
       CAST(v * v * 31 % 997 AS DOUBLE) / 997 AS b,
       CAST((v * 613 + v * v * 7) % 991 AS DOUBLE) / 991 AS c,
       v * 271 % 101 AS d,
       v * v * 17 % 103 AS e,
       (v * v + v * 389) % 107 AS f
FROM generate_series(1, 500) AS t(v);

-- Whom the advertiser saw in its shops.
CREATE TABLE advertiser.visits AS
SELECT CASE WHEN d % 3 = 0 THEN NULL ELSE 'u' || CAST(floor(a * a * 45) AS INT) || '@example.org' END AS email,
       CASE WHEN e % 3 = 1 THEN NULL ELSE '+1212555' || (1000 + CAST(floor(b * b * 50) AS INT)) END AS phone,
       CASE WHEN f % 4 = 2 THEN NULL ELSE CAST(floor((a + c) * (a + c) * 12) AS INT) END AS card,
       CASE WHEN d % 5 = 4 THEN NULL ELSE chr(65 + CAST(floor(b * 6) AS INT)) END AS surname,
       CASE WHEN e % 7 = 5 THEN NULL ELSE DATE '1990-01-01' + CAST(floor(c * 8) AS INT) END AS born,
       CASE WHEN f % 6 = 1 THEN NULL ELSE d - 15 END AS amount,
       CASE WHEN d % 7 = 2 THEN NULL ELSE CAST(e AS DECIMAL(10, 2)) / 8 - 2 END AS price,
       CASE WHEN e % 8 = 3 THEN NULL WHEN e % 31 = 7 THEN CAST('NaN' AS DOUBLE) WHEN e % 37 = 5 THEN CAST('inf' AS DOUBLE)
            ELSE CAST(f AS DOUBLE) / 32 - 1 END AS weight,
       CASE f % 4 WHEN 0 THEN 'web' WHEN 1 THEN 'shop' WHEN 2 THEN 'fair' END AS kind,
       CASE WHEN d % 11 = 10 THEN NULL ELSE DATE '2026-01-01' + CAST(e AS INT) END AS day,
       CASE WHEN e % 5 = 0 THEN NULL ELSE f % 2 = 0 END AS returned
FROM scattered WHERE v <= 260;

-- Members by number: every second row is the first member's.
CREATE TABLE advertiser.members AS
SELECT CASE WHEN v % 2 = 0 THEN 1 WHEN d % 9 = 0 THEN NULL ELSE CAST(floor(c * 60) AS BIGINT) END AS member,
       e AS points,
       CASE WHEN f % 3 = 0 THEN NULL ELSE CAST(d AS DECIMAL(12, 3)) / 16 END AS fee,
       CASE f % 3 WHEN 0 THEN 'gold' WHEN 1 THEN 'blue' END AS tier
FROM scattered WHERE v <= 300;

-- Tables of nobody.
CREATE TABLE advertiser.empty AS SELECT email, phone, amount, kind FROM advertiser.visits WHERE false;

CREATE TABLE advertiser.nameless AS
SELECT CAST(NULL AS VARCHAR) AS email, '' AS phone, d AS amount, 'web' AS kind FROM scattered WHERE v <= 20;

-- Whom the publisher saw.
CREATE TABLE sightings AS
SELECT v AS sighting,
       CASE WHEN e % 3 = 2 THEN NULL ELSE 'u' || CAST(floor(b * a * 60) AS INT) || '@example.org' END AS email,
       CASE WHEN f % 5 = 0 THEN NULL ELSE 'u' || CAST(floor(c * c * 60) AS INT) || '@example.org' END AS email2,
       CASE WHEN d % 3 = 1 THEN NULL ELSE '+1212555' || (1000 + CAST(floor(c * c * 55) AS INT)) END AS phone,
       CASE WHEN d % 4 = 3 THEN NULL ELSE CAST(floor((b + c) * (b + c) * 12) AS INT) END AS card,
       chr(65 + CAST(floor(a * 6) AS INT)) AS surname,
       CASE WHEN f % 6 = 4 THEN NULL ELSE DATE '1990-01-01' + CAST(floor(b * 8) AS INT) END AS born,
       CASE WHEN e % 2 = 0 THEN 1 ELSE CAST(floor(a * 70) AS BIGINT) END AS member,
       CASE WHEN d % 6 = 5 THEN NULL ELSE f % 12 END AS clicks,
       CAST(e % 40 AS DECIMAL(8, 2)) / 8 - 1 AS cost,
       CAST(d AS DOUBLE) / 16 AS seconds,
       CASE f % 3 WHEN 0 THEN 'park' WHEN 1 THEN 'mall' END AS place
FROM scattered WHERE v > 200;

CREATE TABLE places AS
SELECT * FROM (VALUES ('park', 'north', 3), ('mall', 'south', 8), ('zoo', 'north', 1)) AS t(place, side, fee);

CREATE TABLE nowhere AS SELECT * FROM sightings WHERE sighting < 0;

DROP TABLE scattered
