# One image for each service, with that service's dependencies and code alone:
#   docker build --build-arg SERVICE=reports -t cloudigrade-reports .

FROM python:3.11-slim-bookworm AS build
ARG SERVICE
WORKDIR /build
COPY requirements.lock pyproject.toml hatch_build.py README.md LICENSE ./
COPY tools/fetch_uv.py tools/
RUN python -m venv --without-pip /opt/cloudigrade \
 && python tools/fetch_uv.py requirements.lock /usr/local/bin
COPY protos protos
COPY libs libs
COPY services/__init__.py services/__init__.py
COPY services/${SERVICE} services/${SERVICE}
# The wheel takes these folders too; in an image of one service they are empty.
RUN mkdir cli demo \
 && VIRTUAL_ENV=/opt/cloudigrade uv pip install --no-cache -c requirements.lock ".[${SERVICE}]"

FROM python:3.11-slim-bookworm
ARG SERVICE
ENV SERVICE=${SERVICE} PATH=/opt/cloudigrade/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build /opt/cloudigrade /opt/cloudigrade
# Nothing is written to the image's own disk.
USER 65534:65534
WORKDIR /tmp
# So that SIGTERM reaches Python, which then drains what is under way.
CMD ["sh", "-c", "exec python -m services.${SERVICE}"]
