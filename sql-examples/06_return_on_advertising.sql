-- What came back for each dollar
-- asks: advertising/publisher
--
-- Revenue is the advertiser's number, the price of an impression the publisher's. The advertiser's share
-- lets the publisher sum a value of its own over the matches, within bounds (requester_values). What the
-- whole campaign cost is a plain query over the publisher's own table, joined on top.

SELECT revenue,
       spent_on_buyers,
       spent_in_all,
       revenue / spent_in_all AS revenue_per_dollar
FROM  (SELECT PRIVATE_INTERSECT_SUM(p.amount) AS revenue,
              PRIVATE_INTERSECT_SUM(i.cost)   AS spent_on_buyers
       FROM   impressions i
       JOIN   advertiser.purchases p ON i.email = p.email
       WHERE  i.campaign = 'spring'
       AND    p.bought_on BETWEEN DATE '2026-03-01' AND DATE '2026-05-31') AS matched
CROSS JOIN
      (SELECT sum(cost) AS spent_in_all FROM impressions WHERE campaign = 'spring') AS campaign
