DO $$
DECLARE
  part text;
BEGIN
  FOREACH part IN ARRAY ARRAY['products', 'skus', 'shop_products', 'shop_skus', 'pharmacy_skus', 'shops', 'pharmacies']
  LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS product_documents_insert ON %I', part);
    EXECUTE format('DROP TRIGGER IF EXISTS product_documents_delete ON %I', part);
    EXECUTE format('DROP TRIGGER product_documents_update ON %I', part);
  END LOOP;
END $$;
DROP FUNCTION product_documents_kept();
DROP FUNCTION product_documents_of(integer, text[]);
DROP TABLE product_documents;
