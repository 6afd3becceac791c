-- The answer's part of each product, ready: a page of 50 products is otherwise a thousand small JSON objects, put
-- together anew for each request. Kept by triggers in the transaction that changes a product or anything below it, so
-- it is never stale.
CREATE TABLE product_documents (
  organisation_id integer NOT NULL,
  uid text COLLATE "C" NOT NULL,          -- the product's
  document text NOT NULL,                 -- JSON
  PRIMARY KEY (organisation_id, uid),
  FOREIGN KEY (organisation_id, uid) REFERENCES products (organisation_id, uid) ON DELETE CASCADE
);
ALTER TABLE product_documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON product_documents USING (organisation_id =
  NULLIF(current_setting('rxdesk.organisation_id', true), '')::int);

-- What a deleted shop or pharmacy offers is no offer.
CREATE FUNCTION product_documents_of(organisation integer, product_uids text[])
  RETURNS TABLE (uid text, document text) LANGUAGE sql STABLE AS $$
  SELECT p.uid, json_build_object(
    'uid', p.uid,
    'display_name', p.display_name,
    'skus', coalesce((
      SELECT json_agg(json_build_object(
        'uid', s.uid,
        'display_name', s.display_name,
        'pzn', s.pzn,
        'shop_skus', coalesce((
          SELECT json_agg(json_build_object('uid', l.uid, 'shop_uid', l.shop_uid, 'external_id', l.external_id)
            ORDER BY l.position, l.uid)
          FROM shop_skus l
          JOIN shops o ON o.organisation_id = organisation AND o.uid = l.shop_uid AND o.deleted_at IS NULL
          WHERE l.organisation_id = organisation AND l.sku_uid = s.uid AND l.deleted_at IS NULL), '[]'),
        'pharmacy_skus', coalesce((
          SELECT json_agg(json_build_object('uid', l.uid, 'pharmacy_uid', l.pharmacy_uid, 'price', l.price,
            'stock', l.stock, 'external_id', l.external_id) ORDER BY l.position, l.uid)
          FROM pharmacy_skus l
          JOIN pharmacies o ON o.organisation_id = organisation AND o.uid = l.pharmacy_uid AND o.deleted_at IS NULL
          WHERE l.organisation_id = organisation AND l.sku_uid = s.uid AND l.deleted_at IS NULL), '[]'))
        ORDER BY s.position, s.uid)
      FROM skus s
      WHERE s.organisation_id = organisation AND s.product_uid = p.uid AND s.deleted_at IS NULL), '[]'),
    'shop_products', coalesce((
      SELECT json_agg(json_build_object('uid', l.uid, 'shop_uid', l.shop_uid, 'external_id', l.external_id)
        ORDER BY l.position, l.uid)
      FROM shop_products l
      JOIN shops o ON o.organisation_id = organisation AND o.uid = l.shop_uid AND o.deleted_at IS NULL
      WHERE l.organisation_id = organisation AND l.product_uid = p.uid AND l.deleted_at IS NULL), '[]'))::text
  FROM products p
  WHERE p.organisation_id = organisation AND p.uid = ANY (product_uids)
$$;

CREATE FUNCTION product_documents_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed CONSTANT text := CASE
    -- Of a shop or pharmacy only its end and its return count.
    WHEN TG_TABLE_NAME IN ('shops', 'pharmacies') THEN
      'SELECT a.* FROM added a JOIN removed r USING (organisation_id, uid) '
      'WHERE (a.deleted_at IS NULL) <> (r.deleted_at IS NULL)'
    WHEN TG_OP = 'INSERT' THEN 'TABLE added'
    WHEN TG_OP = 'DELETE' THEN 'TABLE removed'
    ELSE 'TABLE added UNION ALL TABLE removed' END;
  touched CONSTANT text := CASE TG_TABLE_NAME
    WHEN 'products' THEN 'SELECT organisation_id, uid AS product_uid FROM changed'
    WHEN 'skus' THEN 'SELECT organisation_id, product_uid FROM changed'
    WHEN 'shop_products' THEN 'SELECT organisation_id, product_uid FROM changed'
    WHEN 'shops' THEN
      'SELECT l.organisation_id, l.product_uid FROM changed c '
      'JOIN shop_products l ON l.organisation_id = c.organisation_id AND l.shop_uid = c.uid '
      'UNION ALL SELECT s.organisation_id, s.product_uid FROM changed c '
      'JOIN shop_skus l ON l.organisation_id = c.organisation_id AND l.shop_uid = c.uid '
      'JOIN skus s ON s.organisation_id = l.organisation_id AND s.uid = l.sku_uid'
    WHEN 'pharmacies' THEN
      'SELECT s.organisation_id, s.product_uid FROM changed c '
      'JOIN pharmacy_skus l ON l.organisation_id = c.organisation_id AND l.pharmacy_uid = c.uid '
      'JOIN skus s ON s.organisation_id = l.organisation_id AND s.uid = l.sku_uid'
    ELSE  -- shop_skus, pharmacy_skus
      'SELECT s.organisation_id, s.product_uid FROM changed c '
      'JOIN skus s ON s.organisation_id = c.organisation_id AND s.uid = c.sku_uid' END;
  place record;
BEGIN
  -- Held against the end of a shop or pharmacy that somebody else is about to write: it would not see these links,
  -- nor we that end. Whoever comes second waits, and then sees both.
  IF TG_TABLE_NAME IN ('shop_products', 'shop_skus') THEN
    EXECUTE format('SELECT FROM shops o WHERE (o.organisation_id, o.uid) IN '
      '(SELECT c.organisation_id, c.shop_uid FROM (%s) c) ORDER BY o.organisation_id, o.uid FOR SHARE', changed);
  ELSIF TG_TABLE_NAME = 'pharmacy_skus' THEN
    EXECUTE format('SELECT FROM pharmacies o WHERE (o.organisation_id, o.uid) IN '
      '(SELECT c.organisation_id, c.pharmacy_uid FROM (%s) c) ORDER BY o.organisation_id, o.uid FOR SHARE', changed);
  END IF;
  FOR place IN EXECUTE format('WITH changed AS (%s) SELECT t.organisation_id AS organisation, '
    'array_agg(DISTINCT t.product_uid) AS uids FROM (%s) t GROUP BY t.organisation_id', changed, touched)
  LOOP
    INSERT INTO product_documents (organisation_id, uid, document)
      SELECT place.organisation, u.uid, '' FROM unnest(place.uids) AS u (uid) ORDER BY u.uid
      ON CONFLICT (organisation_id, uid) DO NOTHING;
    -- Two that change parts of one product come here one after the other; each statement sees what was committed
    -- before it began, so the second one puts together both changes.
    PERFORM FROM product_documents d
      WHERE d.organisation_id = place.organisation AND d.uid = ANY (place.uids) ORDER BY d.uid FOR UPDATE;
    UPDATE product_documents d SET document = n.document
      FROM product_documents_of(place.organisation, place.uids) n
      WHERE d.organisation_id = place.organisation AND d.uid = n.uid AND d.document <> n.document;
  END LOOP;
  RETURN NULL;
END $$;

DO $$
DECLARE
  part text;
BEGIN
  FOREACH part IN ARRAY ARRAY['products', 'skus', 'shop_products', 'shop_skus', 'pharmacy_skus'] LOOP
    EXECUTE format('CREATE TRIGGER product_documents_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS added '
      'FOR EACH STATEMENT EXECUTE FUNCTION product_documents_kept()', part);
    -- A product's document goes with it.
    IF part <> 'products' THEN
      EXECUTE format('CREATE TRIGGER product_documents_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS removed '
        'FOR EACH STATEMENT EXECUTE FUNCTION product_documents_kept()', part);
    END IF;
  END LOOP;
  FOREACH part IN ARRAY ARRAY['products', 'skus', 'shop_products', 'shop_skus', 'pharmacy_skus', 'shops', 'pharmacies']
  LOOP
    EXECUTE format('CREATE TRIGGER product_documents_update AFTER UPDATE ON %I REFERENCING OLD TABLE AS removed '
      'NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION product_documents_kept()', part);
  END LOOP;
END $$;

INSERT INTO product_documents (organisation_id, uid, document)
SELECT o.id, d.uid, d.document
FROM organisations o
CROSS JOIN LATERAL product_documents_of(o.id, ARRAY(SELECT p.uid FROM products p WHERE p.organisation_id = o.id)) d;
