WITH "t6" AS (
  SELECT
    "t5"."conversion_id",
    "t5"."touch_id",
    "t5"."adgroup_id",
    "t5"."click",
    "t5"."lead",
    "t5"."day",
    "t5"."rt_day",
    (
      "t5"."click" * 4611686018427387904
    ) + "t5"."ts" AS "key"
  FROM (
    SELECT
      "t4"."conversion_id",
      "t4"."business_id",
      "t4"."user_id",
      "t4"."lead",
      "t4"."at_ts",
      "t4"."rt_day",
      "t2"."touch_id",
      "t2"."adgroup_id",
      "t2"."click",
      "t2"."ts",
      "t2"."expires_ts",
      "t2"."day",
      "t2"."cost_micros"
    FROM (
      SELECT
        "t0"."conversion_id",
        "t0"."business_id",
        "t0"."user_id",
        "t0"."lead",
        "t0"."ts" AS "at_ts",
        "t0"."day" AS "rt_day"
      FROM "conversions" AS "t0"
    ) AS "t4"
    INNER JOIN "touches" AS "t2"
      ON "t4"."business_id" = "t2"."business_id" AND "t4"."user_id" = "t2"."user_id"
  ) AS "t5"
  WHERE
    "t5"."ts" <= "t5"."at_ts" AND "t5"."at_ts" <= "t5"."expires_ts"
)
SELECT
  "t12"."conversion_id",
  (
    ARRAY_AGG("t12"."adgroup_id" ORDER BY "t12"."touch_id" DESC NULLS LAST) FILTER(WHERE
      "t12"."touch_id" IS NOT NULL)
  )[1] AS "adgroup_id",
  MAX("t12"."click") AS "click",
  MAX("t12"."lead") AS "lead",
  (
    ARRAY_AGG("t12"."day" ORDER BY "t12"."touch_id" DESC NULLS LAST) FILTER(WHERE
      "t12"."touch_id" IS NOT NULL)
  )[1] AS "day",
  MAX("t12"."rt_day") AS "rt_day",
  MAX("t12"."touch_id") AS "touch_id"
FROM (
  SELECT
    *
  FROM (
    SELECT
      "t8"."conversion_id",
      "t8"."touch_id",
      "t8"."adgroup_id",
      "t8"."click",
      "t8"."lead",
      "t8"."day",
      "t8"."rt_day",
      "t8"."key",
      "t10"."best"
    FROM "t6" AS "t8"
    INNER JOIN (
      SELECT
        "t7"."conversion_id",
        MAX("t7"."key") AS "best"
      FROM "t6" AS "t7"
      GROUP BY
        1
    ) AS "t10"
      ON "t8"."conversion_id" = "t10"."conversion_id"
  ) AS "t11"
  WHERE
    "t11"."key" = "t11"."best"
) AS "t12"
GROUP BY
  1
