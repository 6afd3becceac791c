"""Notification subscriptions and webhook deliveries."""
