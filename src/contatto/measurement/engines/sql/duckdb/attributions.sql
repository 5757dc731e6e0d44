SELECT
  "t4"."conversion_id",
  "t5"."touch_id",
  "t5"."adgroup_id",
  "t5"."click"
FROM (
  SELECT DISTINCT
    "t0"."conversion_id"
  FROM "conversions" AS "t0"
) AS "t4"
LEFT OUTER JOIN (
  SELECT
    "t1"."conversion_id",
    "t1"."touch_id",
    "t1"."adgroup_id",
    "t1"."click"
  FROM "winners" AS "t1"
) AS "t5"
  ON "t4"."conversion_id" = "t5"."conversion_id"
