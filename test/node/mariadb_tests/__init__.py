"""Tests of infra/node/mariadb."""
