SELECT
  "t4"."conversion_id" AS "conversion_id",
  "t5"."touch_id" AS "touch_id",
  "t5"."adgroup_id" AS "adgroup_id",
  "t5"."click" AS "click"
FROM (
  SELECT DISTINCT
    "t0"."conversion_id" AS "conversion_id"
  FROM "conversions" AS "t0"
) AS "t4"
LEFT OUTER JOIN (
  SELECT
    "t1"."conversion_id" AS "conversion_id",
    "t1"."touch_id" AS "touch_id",
    "t1"."adgroup_id" AS "adgroup_id",
    "t1"."click" AS "click"
  FROM "winners" AS "t1"
) AS "t5"
  ON "t4"."conversion_id" = "t5"."conversion_id"
