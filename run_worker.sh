#!/bin/sh
exec dramatiq app.jobs.ingestion_job
