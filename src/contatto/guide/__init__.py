"""The first hour: set-up, first steps, and the documents as help in the product."""
