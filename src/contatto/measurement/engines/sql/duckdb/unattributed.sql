SELECT
  "t4"."business_id",
  SUM(1 - "t4"."lead") AS "conversations",
  SUM("t4"."lead") AS "leads"
FROM (
  SELECT
    "t2"."conversion_id",
    "t2"."business_id",
    "t2"."user_id",
    "t2"."lead",
    "t2"."ts",
    "t2"."day"
  FROM "conversions" AS "t2"
  ANTI JOIN "winners" AS "t3"
    ON "t2"."conversion_id" = "t3"."conversion_id"
) AS "t4"
GROUP BY
  1
