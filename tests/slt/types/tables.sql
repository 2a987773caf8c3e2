-- One person per row, 1 to 40 there and 21 to 60 here, under an identifier of each type, with a value of each type.

CREATE TABLE people AS
SELECT v,
       'id-' || (100 + v) AS text,
       CAST(v AS TINYINT) AS i8, CAST(v * 100 AS SMALLINT) AS i16, CAST(v * 100000 AS INT) AS i32, v * 10000000000 AS i64,
       CAST(v AS TINYINT UNSIGNED) AS u8, CAST(v * 500 AS SMALLINT UNSIGNED) AS u16, CAST(v * 40000000 AS INT UNSIGNED) AS u32,
       CAST(v * 100000000000000000 AS BIGINT UNSIGNED) AS u64,
       DATE '1950-01-01' + CAST(v * 400 AS INT) AS day
FROM generate_series(1, 60) AS t(v);

CREATE TABLE advertiser.typed AS
SELECT text, i8, i16, i32, i64, u8, u16, u32, u64, day,
       arrow_cast(text, 'LargeUtf8') AS large_text,
       arrow_cast(text, 'Utf8View') AS text_view,
       arrow_cast(text, 'Dictionary(Int32, Utf8)') AS text_dictionary,
       arrow_cast(i32, 'Dictionary(Int16, Int32)') AS int_dictionary,
       arrow_cast(text, 'Binary') AS bytes,
       arrow_cast(text, 'LargeBinary') AS large_bytes,
       arrow_cast(text, 'BinaryView') AS bytes_view,
       arrow_cast(arrow_cast(text, 'Binary'), 'FixedSizeBinary(6)') AS fixed_bytes,
       arrow_cast(day, 'Date64') AS day64,
       -- Values.
       CASE WHEN v % 5 <> 0 THEN CAST(v - 20 AS TINYINT) END AS n8,
       CASE WHEN v % 5 <> 1 THEN CAST(v * 11 % 300 - 100 AS SMALLINT) END AS n16,
       CASE WHEN v % 5 <> 2 THEN CAST(v * 101 % 3000 AS INT) END AS n32,
       CASE WHEN v % 5 <> 3 THEN v * 1000001 END AS n64,
       CASE WHEN v % 5 <> 4 THEN CAST(v * 3 AS TINYINT UNSIGNED) END AS m8,
       CAST(v * 7 AS SMALLINT UNSIGNED) AS m16, CAST(v * 70 AS INT UNSIGNED) AS m32, CAST(v * 700 AS BIGINT UNSIGNED) AS m64,
       CASE WHEN v % 6 <> 0 THEN CAST(CAST(v AS DECIMAL(5, 1)) / 2 AS DECIMAL(5, 1)) END AS d1,
       arrow_cast(CAST(v * 25 AS DECIMAL(9, 2)) / 100, 'Decimal32(9, 2)') AS d32,
       arrow_cast(CAST(v * 125 AS DECIMAL(12, 3)) / 1000, 'Decimal64(18, 3)') AS d64,
       CAST(CAST(v AS DECIMAL(20, 2)) / 4 AS DECIMAL(38, 10)) AS d38,
       CAST(v * 1000 AS DECIMAL(10, 0)) AS d0,
       CASE WHEN v % 7 <> 0 THEN arrow_cast(CAST(v AS DOUBLE) / 8, 'Float32') END AS f32,
       CASE WHEN v % 7 <> 1 THEN CAST(v AS DOUBLE) / 16 - 1 END AS f64,
       arrow_cast(CAST(v % 9 AS INT), 'Dictionary(Int8, Int32)') AS n_dictionary,
       -- For conditions and counts.
       v % 2 = 0 AS flag,
       to_timestamp_seconds(1767225600 + v * 3600) AS at_s,
       arrow_cast(to_timestamp_seconds(1767225600 + v * 3600), 'Timestamp(Millisecond, None)') AS at_ms,
       arrow_cast(to_timestamp_seconds(1767225600 + v * 3600), 'Timestamp(Nanosecond, None)') AS at_ns,
       arrow_cast(to_timestamp_seconds(1767225600 + v * 3600), 'Timestamp(Microsecond, Some("UTC"))') AS at_utc,
       arrow_cast(CAST(v * 600 AS INT), 'Time32(Second)') AS clock,
       arrow_cast(v * 600000000000, 'Time64(Nanosecond)') AS clock_ns
FROM people WHERE v <= 40;

CREATE TABLE here AS
SELECT people.*,
       arrow_cast(text, 'LargeUtf8') AS large_text,
       arrow_cast(text, 'Utf8View') AS text_view,
       arrow_cast(text, 'Dictionary(UInt8, LargeUtf8)') AS text_dictionary,
       arrow_cast(text, 'Binary') AS bytes,
       arrow_cast(text, 'LargeBinary') AS large_bytes,
       arrow_cast(arrow_cast(text, 'Binary'), 'FixedSizeBinary(6)') AS fixed_bytes,
       arrow_cast(day, 'Date64') AS day64,
       CAST(i32 AS VARCHAR) AS i32_text,
       CAST(v AS DOUBLE) AS f64,
       CAST(v AS DECIMAL(10, 2)) AS d2,
       CAST(v * 3 % 50 AS TINYINT UNSIGNED) AS own_u8,
       arrow_cast(CAST(v % 9 AS INT), 'Dictionary(Int8, Int32)') AS own_dictionary,
       CAST(CAST(v AS DECIMAL(20, 2)) / 4 AS DECIMAL(38, 10)) AS d38,
       arrow_cast(CAST(v AS DOUBLE) / 4, 'Float32') AS own_f32,
       arrow_cast(CAST(v * 5 AS DECIMAL(9, 2)) / 10, 'Decimal32(9, 2)') AS own_d32
FROM people WHERE v > 20;

DROP TABLE people
