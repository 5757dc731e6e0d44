SELECT
  "t5"."business_id",
  SUM(1 - "t5"."lead") AS "conversations",
  SUM("t5"."lead") AS "leads"
FROM (
  SELECT
    "t4"."conversion_id",
    "t4"."business_id",
    "t4"."lead"
  FROM (
    SELECT DISTINCT
      "t0"."conversion_id",
      "t0"."business_id",
      "t0"."lead"
    FROM "conversions" AS "t0"
  ) AS "t4"
  ANTI JOIN "winners" AS "t2"
    ON "t4"."conversion_id" = "t2"."conversion_id"
) AS "t5"
GROUP BY
  1
