WITH `t4` AS (
  SELECT
    `t2`.`business_id`,
    `t2`.`seq`,
    `t2`.`kind`,
    `t2`.`nonce`,
    `t2`.`ts`,
    `t2`.`arrived_ts`,
    `t2`.`user_id`,
    `t2`.`said`,
    `t2`.`ad`,
    `t2`.`ad_group`,
    `t2`.`model`,
    `t2`.`propensity`,
    `t2`.`price_micros`,
    `t2`.`country`,
    `t2`.`p`,
    `t2`.`raw`,
    `t2`.`hashes`,
    `t2`.`weights`,
    `t2`.`kinds`,
    `t2`.`between`,
    `t3`.`as_of_ts`
  FROM `entries` AS `t2`
  CROSS JOIN `cut` AS `t3`
)
SELECT
  `t11`.`business_id`,
  `t11`.`nonce`,
  `t11`.`user_id`,
  `t11`.`ts`,
  `t11`.`ad`,
  `t11`.`ad_group`,
  `t11`.`model`,
  `t11`.`propensity`,
  `t11`.`price_micros`,
  `t11`.`country`,
  `t11`.`p`,
  `t11`.`raw`,
  `t11`.`hashes`,
  `t11`.`weights`,
  `t11`.`kinds`,
  `t11`.`between`,
  `t17`.`view_ts`,
  `t17`.`click_ts`,
  `t17`.`conversation_ts`,
  `t17`.`lead_ts`,
  `t17`.`lead_arrived_ts`,
  `t17`.`spam_ts`,
  `t17`.`quality`,
  COALESCE(`t22`.`views_day`, 0) AS `views_day`,
  COALESCE(`t22`.`views_of_ad_day`, 0) AS `views_of_ad_day`,
  COALESCE(`t22`.`clicks_day`, 0) AS `clicks_day`,
  COALESCE(`t22`.`clicks`, 0) AS `clicks`,
  COALESCE(`t22`.`conversations`, 0) AS `conversations`,
  COALESCE(`t22`.`leads`, 0) AS `leads`,
  COALESCE(`t22`.`spam`, 0) AS `spam`,
  `t11`.`nonce` % 256 AS `part`
FROM (
  SELECT
    `t5`.`business_id`,
    `t5`.`nonce`,
    `t5`.`user_id`,
    `t5`.`ts`,
    `t5`.`ad`,
    `t5`.`ad_group`,
    `t5`.`model`,
    `t5`.`propensity`,
    `t5`.`price_micros`,
    `t5`.`country`,
    `t5`.`p`,
    `t5`.`raw`,
    `t5`.`hashes`,
    `t5`.`weights`,
    `t5`.`kinds`,
    `t5`.`between`
  FROM `t4` AS `t5`
  WHERE
    `t5`.`arrived_ts` <= `t5`.`as_of_ts`
    AND `t5`.`nonce` <> 0
    AND `t5`.`kind` = 'decision'
    AND `t5`.`ad` <> 0
) AS `t11`
INNER JOIN (
  SELECT
    *
  FROM (
    SELECT
      `t6`.`business_id`,
      `t6`.`nonce`,
      MIN(IF(`t6`.`kind` = 'view', `t6`.`ts`, NULL)) AS `view_ts`,
      MIN(IF(`t6`.`kind` = 'click', `t6`.`ts`, NULL)) AS `click_ts`,
      MIN(IF(`t6`.`kind` = 'conversation', `t6`.`ts`, NULL)) AS `conversation_ts`,
      MIN(IF(`t6`.`kind` = 'lead', `t6`.`ts`, NULL)) AS `lead_ts`,
      MIN(IF(`t6`.`kind` = 'lead', `t6`.`arrived_ts`, NULL)) AS `lead_arrived_ts`,
      MIN(IF(`t6`.`kind` = 'spam', `t6`.`ts`, NULL)) AS `spam_ts`,
      MAX_BY(
        IF(`t6`.`kind` = 'quality', `t6`.`said`, NULL),
        IF(`t6`.`kind` = 'quality', `t6`.`seq`, NULL)
      ) AS `quality`
    FROM (
      SELECT
        *
      FROM `t4` AS `t5`
      WHERE
        `t5`.`arrived_ts` <= `t5`.`as_of_ts` AND `t5`.`nonce` <> 0
    ) AS `t6`
    GROUP BY
      1,
      2
  ) AS `t14`
  WHERE
    `t14`.`view_ts` IS NOT NULL
) AS `t17`
  ON `t11`.`business_id` = `t17`.`business_id` AND `t11`.`nonce` = `t17`.`nonce`
LEFT OUTER JOIN (
  SELECT
    `t20`.`business_id`,
    `t20`.`nonce`,
    `t20`.`views_day`,
    `t20`.`views_of_ad_day`,
    `t20`.`clicks_day`,
    `t20`.`clicks`,
    `t20`.`conversations`,
    `t20`.`leads`,
    `t20`.`spam`
  FROM (
    SELECT
      `t19`.`business_id`,
      `t19`.`user_id`,
      `t19`.`ad`,
      `t19`.`nonce`,
      `t19`.`at`,
      `t19`.`kind`,
      SUM(CAST(`t19`.`kind` = 'view' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING
      ) AS `views_day`,
      SUM(CAST(`t19`.`kind` = 'view' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`, `t19`.`ad`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING
      ) AS `views_of_ad_day`,
      SUM(CAST(`t19`.`kind` = 'click' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING
      ) AS `clicks_day`,
      SUM(CAST(`t19`.`kind` = 'click' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 1209600000000 PRECEDING AND 1 PRECEDING
      ) AS `clicks`,
      SUM(CAST(`t19`.`kind` = 'conversation' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 1209600000000 PRECEDING AND 1 PRECEDING
      ) AS `conversations`,
      SUM(CAST(`t19`.`kind` = 'lead' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 1209600000000 PRECEDING AND 1 PRECEDING
      ) AS `leads`,
      SUM(CAST(`t19`.`kind` = 'spam' AS BIGINT)) OVER (
        PARTITION BY `t19`.`business_id`, `t19`.`user_id`
        ORDER BY `t19`.`at` ASC NULLS LAST
        RANGE BETWEEN 1209600000000 PRECEDING AND 1 PRECEDING
      ) AS `spam`
    FROM (
      SELECT
        *
      FROM (
        SELECT
          `t5`.`business_id`,
          `t5`.`user_id`,
          `t5`.`ad`,
          `t5`.`nonce`,
          `t5`.`ts` AS `at`,
          'ask' AS `kind`
        FROM `t4` AS `t5`
        WHERE
          `t5`.`arrived_ts` <= `t5`.`as_of_ts`
          AND `t5`.`nonce` <> 0
          AND `t5`.`kind` = 'decision'
          AND `t5`.`ad` <> 0
          AND `t5`.`user_id` <> ''
      ) AS `t8`
      UNION ALL
      SELECT
        *
      FROM (
        SELECT
          `t15`.`business_id`,
          `t12`.`user_id`,
          `t12`.`ad`,
          `t15`.`nonce`,
          `t15`.`at`,
          `t15`.`kind`
        FROM (
          SELECT
            `t10`.`business_id`,
            `t10`.`nonce`,
            `t10`.`kind`,
            MIN(`t10`.`arrived_ts`) AS `at`
          FROM (
            SELECT
              *
            FROM `t4` AS `t5`
            WHERE
              `t5`.`arrived_ts` <= `t5`.`as_of_ts`
              AND `t5`.`nonce` <> 0
              AND `t5`.`kind` <> 'decision'
          ) AS `t10`
          GROUP BY
            1,
            2,
            3
        ) AS `t15`
        INNER JOIN (
          SELECT
            `t5`.`business_id`,
            `t5`.`nonce`,
            `t5`.`user_id`,
            `t5`.`ad`
          FROM `t4` AS `t5`
          WHERE
            `t5`.`arrived_ts` <= `t5`.`as_of_ts`
            AND `t5`.`nonce` <> 0
            AND `t5`.`kind` = 'decision'
            AND `t5`.`ad` <> 0
            AND `t5`.`user_id` <> ''
        ) AS `t12`
          ON `t15`.`business_id` = `t12`.`business_id` AND `t15`.`nonce` = `t12`.`nonce`
      ) AS `t18`
    ) AS `t19`
  ) AS `t20`
  WHERE
    `t20`.`kind` = 'ask'
) AS `t22`
  ON `t11`.`business_id` = `t22`.`business_id` AND `t11`.`nonce` = `t22`.`nonce`
