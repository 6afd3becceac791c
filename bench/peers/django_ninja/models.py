"""The given tables as unmanaged models, each with the composite key that it has in the database.

Relations are `ForeignObject`s over (organisation_id, …_uid), as Django's documentation advises for composite
keys: a join never leaves its organisation. Columns that the API does not use are left out.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from bench.peers.django_ninja.rows import Deletable, NumbersAsWritten, Row, relation


class Organisation(models.Model):
    """A tenant."""

    id = models.IntegerField(primary_key=True)
    time_zone = models.TextField()

    class Meta:
        managed = False
        db_table = "organisations"


class ApiKey(Row):
    """A key, known by its SHA-256."""

    digest = models.BinaryField()
    permissions = ArrayField(models.TextField())
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta(Row.Meta):
        db_table = "api_keys"


class Shop(Deletable):
    """A shop."""

    identifier = models.TextField()
    consultation_minutes = models.IntegerField(null=True)
    doctors_on_duty = models.IntegerField(null=True)

    class Meta(Deletable.Meta):
        db_table = "shops"


class Pharmacy(Deletable):
    """A pharmacy."""

    class Meta(Deletable.Meta):
        db_table = "pharmacies"


class Doctor(Deletable):
    """A doctor."""

    display_name = models.TextField()
    sort_key = models.TextField()
    email = models.TextField(null=True)
    minutes_to_respond = models.IntegerField(null=True)
    can_sign_prescriptions = models.BooleanField()
    active = models.BooleanField()

    class Meta(Deletable.Meta):
        db_table = "doctors"


class Product(Deletable):
    """A product."""

    display_name = models.TextField()
    sort_key = models.TextField()

    class Meta(Deletable.Meta):
        db_table = "products"


class Sku(Deletable):
    """A pack of a product."""

    product_uid = models.TextField()
    product = relation("Product", "product_uid", reverse="skus")
    position = models.IntegerField()
    display_name = models.TextField()
    pzn = models.TextField(null=True)

    class Meta(Deletable.Meta):
        db_table = "skus"


class ShopProduct(Deletable):
    """A product as a shop lists it."""

    product_uid = models.TextField()
    product = relation("Product", "product_uid", reverse="shop_products")
    shop_uid = models.TextField()
    shop = relation("Shop", "shop_uid")
    position = models.IntegerField()
    external_id = models.TextField(null=True)

    class Meta(Deletable.Meta):
        db_table = "shop_products"


class ShopSku(Deletable):
    """A SKU as a shop sells it."""

    sku_uid = models.TextField()
    sku = relation("Sku", "sku_uid", reverse="shop_skus")
    shop_uid = models.TextField()
    shop = relation("Shop", "shop_uid")
    position = models.IntegerField()
    external_id = models.TextField(null=True)

    class Meta(Deletable.Meta):
        db_table = "shop_skus"


class PharmacySku(Deletable):
    """A SKU as a pharmacy offers it."""

    sku_uid = models.TextField()
    sku = relation("Sku", "sku_uid", reverse="pharmacy_skus")
    pharmacy_uid = models.TextField()
    pharmacy = relation("Pharmacy", "pharmacy_uid")
    position = models.IntegerField()
    price = models.IntegerField(null=True)
    stock = models.IntegerField(null=True)
    external_id = models.TextField(null=True)

    class Meta(Deletable.Meta):
        db_table = "pharmacy_skus"


class Patient(Deletable):
    """A patient."""

    display_name = models.TextField(null=True)
    first_name = models.TextField(null=True)
    last_name = models.TextField(null=True)
    email = models.TextField(null=True)
    email_key = models.TextField(null=True)
    date_of_birth = models.DateField(null=True)
    profile = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta(Deletable.Meta):
        db_table = "patients"


class Submission(Deletable):
    """A patient's answers to an anamnesis; they count once they are signed."""

    patient_uid = models.TextField()
    intent = models.TextField()
    signed_at = models.DateTimeField(null=True)

    class Meta(Deletable.Meta):
        db_table = "submissions"


class IntentWindow(Row):
    """How many days a submission counts; its uid is the intent."""

    valid_days = models.IntegerField()

    class Meta(Row.Meta):
        db_table = "intent_windows"


class Order(Deletable):
    """An order."""

    status = models.TextField()
    patient_uid = models.TextField(null=True)
    patient = relation("Patient", "patient_uid", null=True)
    email_key = models.TextField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta(Deletable.Meta):
        db_table = "orders"


class ShopOrder(Deletable):
    """An order as a shop knows it."""

    order_uid = models.TextField()
    order = relation("Order", "order_uid", reverse="shop_orders")
    shop_uid = models.TextField()
    shop = relation("Shop", "shop_uid")
    position = models.IntegerField()
    external_id = models.TextField(null=True)

    class Meta(Deletable.Meta):
        db_table = "shop_orders"


class OrderItem(Deletable):
    """A position of an order."""

    order_uid = models.TextField()
    order = relation("Order", "order_uid", reverse="items")
    sku_uid = models.TextField()
    position = models.IntegerField()
    quantity = models.IntegerField()

    class Meta(Deletable.Meta):
        db_table = "order_items"


class FulfillmentOrder(Deletable):
    """A part of an order that is fulfilled together."""

    order_uid = models.TextField()
    order = relation("Order", "order_uid", reverse="fulfillment_orders")
    position = models.IntegerField()

    class Meta(Deletable.Meta):
        db_table = "fulfillment_orders"


class FulfillmentOrderItem(Deletable):
    """A position that a fulfillment order takes on."""

    order_uid = models.TextField()
    order = relation("Order", "order_uid", reverse="fulfillment_order_items")
    fulfillment_order_uid = models.TextField()
    order_item_uid = models.TextField()
    order_item = relation("OrderItem", "order_item_uid")
    position = models.IntegerField()

    class Meta(Deletable.Meta):
        db_table = "fulfillment_order_items"


class Prescription(Deletable):
    """A prescription."""

    order_uid = models.TextField()
    order = relation("Order", "order_uid", reverse="prescriptions")
    fulfillment_order_uid = models.TextField(null=True)
    doctor_uid = models.TextField(null=True)
    doctor = relation("Doctor", "doctor_uid", null=True)
    position = models.IntegerField()
    status = models.TextField()
    assigned_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    rendered = models.BooleanField()

    class Meta(Deletable.Meta):
        db_table = "prescriptions"


class WaitingRoom(Row):
    """One row a shop (its uid): the lock and the sequence of its queue."""

    last_turn = models.BigIntegerField()

    class Meta(Row.Meta):
        db_table = "waiting_rooms"


class EventStream(Row):
    """One row an organisation: the lock under which its events get their positions."""

    last_position = models.BigIntegerField()

    class Meta(Row.Meta):
        db_table = "event_streams"


class Event(Row):
    """What happened, with the bytes that subscribers will get: the outbox."""

    position = models.BigIntegerField()
    event_type = models.TextField()
    subject_uid = models.TextField()
    occurred_at = models.DateTimeField()
    body = models.BinaryField()
    actor_kind = models.TextField()
    actor_uid = models.TextField()

    class Meta(Row.Meta):
        db_table = "events"


class Visit(Deletable):
    """A patient in a shop's queue."""

    shop_uid = models.TextField()
    shop = relation("Shop", "shop_uid")
    patient_uid = models.TextField()
    preferred_doctor_uid = models.TextField(null=True)
    visit_reason = models.TextField(null=True)
    status = models.TextField()
    turn = models.BigIntegerField()
    video_room_id = models.TextField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    allocated_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    actor_kind = models.TextField()
    actor_uid = models.TextField()

    class Meta(Deletable.Meta):
        db_table = "waiting_room_visits"


class PassTemplate(Deletable):
    """A template that passes are made from; `fields` are names that a message may use."""

    fields = ArrayField(models.TextField())

    class Meta(Deletable.Meta):
        db_table = "wallet_pass_templates"


class Pass(Deletable):
    """A customer's wallet pass."""

    wallet_pass_template_uid = models.TextField()
    template = relation("PassTemplate", "wallet_pass_template_uid")
    patient_uid = models.TextField(null=True)
    patient = relation("Patient", "patient_uid", null=True)
    status = models.TextField()
    expires_at = models.DateTimeField(null=True)
    display_name = models.TextField(null=True)
    first_name = models.TextField(null=True)
    last_name = models.TextField(null=True)
    field_values = models.JSONField(decoder=NumbersAsWritten)

    class Meta(Deletable.Meta):
        db_table = "wallet_passes"


class PushNotification(Row):
    """A message to the holder of a pass."""

    wallet_pass_uid = models.TextField()
    message = models.TextField()
    status = models.TextField()
    created_at = models.DateTimeField()
    actor_kind = models.TextField()
    actor_uid = models.TextField()

    class Meta(Row.Meta):
        db_table = "push_notifications"
