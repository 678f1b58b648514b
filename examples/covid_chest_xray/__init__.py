"""The experiment of Basu, Mitra & Saha (2020): COVID-19 on chest radiographs.

``python -m examples.covid_chest_xray --profile phantoms`` runs it without any data.
"""
