SELECT
  `t6`.`adgroup_id`,
  `t6`.`day`,
  SUM(`t6`.`spend_micros`) AS `spend_micros`,
  SUM(`t6`.`impressions`) AS `impressions`,
  SUM(`t6`.`clicks`) AS `clicks`,
  SUM(`t6`.`conversations`) AS `conversations`,
  SUM(`t6`.`leads`) AS `leads`,
  SUM(`t6`.`rt_conversations`) AS `rt_conversations`,
  SUM(`t6`.`rt_leads`) AS `rt_leads`
FROM (
  SELECT
    *
  FROM (
    SELECT
      `t0`.`adgroup_id`,
      `t0`.`rt_day` AS `day`,
      0 AS `spend_micros`,
      0 AS `impressions`,
      0 AS `clicks`,
      0 AS `conversations`,
      0 AS `leads`,
      1 - `t0`.`lead` AS `rt_conversations`,
      `t0`.`lead` AS `rt_leads`
    FROM `winners` AS `t0`
  ) AS `t2`
  UNION ALL
  SELECT
    *
  FROM (
    SELECT
      *
    FROM (
      SELECT
        `t1`.`adgroup_id`,
        `t1`.`day`,
        `t1`.`cost_micros` AS `spend_micros`,
        1 - `t1`.`click` AS `impressions`,
        `t1`.`click` AS `clicks`,
        0 AS `conversations`,
        0 AS `leads`,
        0 AS `rt_conversations`,
        0 AS `rt_leads`
      FROM `touches` AS `t1`
    ) AS `t4`
    UNION ALL
    SELECT
      *
    FROM (
      SELECT
        `t0`.`adgroup_id`,
        `t0`.`day`,
        0 AS `spend_micros`,
        0 AS `impressions`,
        0 AS `clicks`,
        1 - `t0`.`lead` AS `conversations`,
        `t0`.`lead` AS `leads`,
        0 AS `rt_conversations`,
        0 AS `rt_leads`
      FROM `winners` AS `t0`
    ) AS `t3`
  ) AS `t5`
) AS `t6`
GROUP BY
  1,
  2
