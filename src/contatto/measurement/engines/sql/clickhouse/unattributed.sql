SELECT
  "t4"."business_id" AS "business_id",
  SUM(1 - "t4"."lead") AS "conversations",
  SUM("t4"."lead") AS "leads"
FROM (
  SELECT
    "t2"."conversion_id" AS "conversion_id",
    "t2"."business_id" AS "business_id",
    "t2"."user_id" AS "user_id",
    "t2"."lead" AS "lead",
    "t2"."ts" AS "ts",
    "t2"."day" AS "day"
  FROM "conversions" AS "t2"
  LEFT ANTI JOIN "winners" AS "t3"
    ON "t2"."conversion_id" = "t3"."conversion_id"
) AS "t4"
GROUP BY
  "t4"."business_id"
