"""A local AWS on 127.0.0.1: moto's server, made to behave as AWS where cloudigrade depends on it.

Whatever these modules change in moto has a test in tests/demo that shows what AWS does.
"""
