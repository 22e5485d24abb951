"""What keeps campaigns going and says how they fare: cron, incidents, alerts, health, figures."""
