# One image for every role: web, the workers, beat and the one-time migrate. docker-compose.yml says which is which.
# Nothing secret is in it: keys come at run time, as files (HYGATE_SECRET_KEY_FILE=/run/secrets/...).
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
RUN python -m venv /opt/hygate
COPY requirements/run.txt /tmp/run.txt
RUN /opt/hygate/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/run.txt

FROM python:${PYTHON}-slim
ENV PATH=/opt/hygate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=hygate.settings \
    HYGATE_VAR_DIR=/var/lib/hygate \
    GRANIAN_HOST=0.0.0.0
# the number is fixed, so that a volume's files belong to the same user after an update of the image
RUN useradd --system --uid 10001 --home-dir /var/lib/hygate --create-home --shell /usr/sbin/nologin hygate
COPY --from=build /opt/hygate /opt/hygate
WORKDIR /srv/hygate
COPY manage.py ./
COPY hygate ./hygate
COPY devices ./devices
COPY sessions_app ./sessions_app
COPY templates ./templates
COPY locale ./locale
COPY docs/troubleshooting.md ./docs/
# the code belongs to root: the process can run it, never change it
RUN python -m compileall -q hygate devices sessions_app
USER hygate
VOLUME /var/lib/hygate
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=40s --retries=3 CMD ["python", "-m", "hygate.alive"]
CMD ["granian", "--interface", "wsgi", "--no-ws", "--workers", "2", "--blocking-threads", "4", "hygate.wsgi:application"]
