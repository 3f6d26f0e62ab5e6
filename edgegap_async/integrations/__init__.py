"""What other packages need to use the SDK. Nothing here is imported by the SDK itself.

asgi            a session for an ASGI application, and the webhooks as one
opentelemetry   traces and metrics
prometheus      metrics, by prometheus_client
pytest_session  a fixture of pytest: a session that calls a simulator
"""
