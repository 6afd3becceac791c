DROP TABLE doctor_decision_times, doctor_statistics, notification_subscriptions, push_notifications, wallet_passes,
  wallet_pass_templates, waiting_room_visits, waiting_rooms, pharmacy_orders, prescriptions,
  fulfillment_order_items, fulfillment_orders, order_items, shop_orders, orders, submissions, patients,
  pharmacy_skus, shop_skus, shop_products, skus, products, doctors, delivery_types, pharmacies, shops,
  intent_windows, idempotency_keys, api_keys, organisations;
DROP FUNCTION prescriptions_counted();
DROP FUNCTION decision_bucket(bigint);
DROP FUNCTION decision_bucket_seconds(integer);
DROP FUNCTION unix_seconds(timestamptz);
