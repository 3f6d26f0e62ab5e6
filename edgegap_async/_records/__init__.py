"""What a session knows of each deployment and each deploy, and what may be believed of
what the API says of them.

state        the states of a deploy, and the table of transitions
records      one record per deployment
search_tags  one record per tag of a deploy
existence    whether a deployment is really gone when an answer says that it is not found
lifecycle    the events of `on_event` about deployments
"""
